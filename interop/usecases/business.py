"""The business cases: who pays whom, and what is left for whom, as formulas over what is measured and assumed."""

from __future__ import annotations

from interop.usecases.sheet import Flow, Model, Row, annuity

__all__ = ["COMMUNITY", "HOME", "LVGRID"]

_GRID_KW = Row("grid_kw", "EUR/(kW a)", f"grid_eur_per_kw * {annuity('grid_life_years')}", "a kW of grid as an annuity")

HOME = Model(
    lead=(
        "The tariff pays the home; a grid operator pays only if peaks fall where its grid is short. A tariff alone can"
        " raise a peak: many devices then wait for the same cheap hour."
    ),
    rows=(
        Row("saving", "EUR/a", "cost_rule - cost_managed", "what planning saves the home on its bill"),
        Row(
            "manager",
            "EUR/a",
            f"manager_eur * {annuity('manager_life_years')}",
            "the energy manager as an annuity",
        ),
        Row("home_net", "EUR/a", "saving - manager - platform_eur_per_home_year", "what the home keeps"),
        _GRID_KW,
        Row(
            "peak_cut",
            "kW",
            "(peak_rule - peak_managed) * coincidence",
            "peak that the grid is spared (below 0: it gets)",
        ),
        Row("deferral", "EUR/a", "peak_cut * grid_kw", "what reinforcement put off is worth to the grid operator"),
        Row("system_net", "EUR/a", "home_net + deferral", "per prosumer and year, home and grid together"),
    ),
    flows=(
        Flow("supplier, wear", "home", "saving", "lower bill: bought later, cheaper, or not at all"),
        Flow("home", "installer", "manager", "energy manager, bought and written off"),
        Flow("home", "aggregator", "platform_eur_per_home_year", "forecasts, plans, metering data"),
        Flow("grid operator", "home", "deferral", "reinforcement put off, if it passes its saving on"),
    ),
    varied=("manager_eur", "platform_eur_per_home_year", "grid_eur_per_kw"),
)

COMMUNITY = Model(
    lead=(
        "What members gain, others lose: the spread between buying and selling price on what neighbours exchange, in"
        " which grid fees and taxes are the larger part. What of them falls due on local exchange is assumed, and"
        " plans know it: run again with another fee to see what hangs on it. No grid operator asks for anything, so a"
        " community lowers peaks only by chance."
    ),
    rows=(
        Row("gain", "EUR/a", "cost_alone - cost_together", "what acting as one saves all members, local fees paid"),
        Row("spread", "EUR/a", "gain + local_fees", "what members no longer pay for what they take from each other"),
        Row("platform", "EUR/a", "members * platform_eur_per_home_year", "balancing and accounts"),
        Row("founding", "EUR/a", "members * founding_eur_per_member / founding_years", "set-up, written off"),
        Row("member_net", "EUR/a", "(gain - platform - founding) / members", "what a member keeps, on average"),
        _GRID_KW,
        Row(
            "deferral", "EUR/a", "(peak_alone - peak_together) * grid_kw", "reinforcement put off (below 0: called for)"
        ),
        Row(
            "system_net", "EUR/a", "member_net + deferral / members", "per prosumer and year, members and grid together"
        ),
    ),
    flows=(
        Flow("suppliers, grids, state", "members", "spread", "neighbours give what was bought and sold before"),
        Flow("members", "suppliers, grids, state", "local_fees", "reduced fees on local exchange"),
        Flow("members", "community operator", "platform", "balancing and accounts"),
        Flow("members", "community operator", "founding", "set-up"),
        Flow("grid operator", "members", "deferral", "reinforcement put off, if it passes its saving on"),
    ),
    varied=("platform_eur_per_home_year", "founding_eur_per_member", "grid_eur_per_kw"),
)

LVGRID = Model(
    lead=(
        "The grid operator can build, or pay for flexibility on the days that need it. What it costs the homes includes"
        " forecast errors and margins, but neither drop-outs nor the outage. Days near the year's highest export stand"
        " for all congested ones, so flexibility is rather priced too high than too low."
    ),
    rows=(
        Row("homes_cost", "EUR/a", "day_cost * congested_days_per_year", "what keeping the limit costs the homes"),
        Row(
            "bonus", "EUR/a", "moved * goodwill_eur_per_kwh * congested_days_per_year", "paid to the homes beyond that"
        ),
        Row("commission", "EUR/a", "homes_cost * aggregator_share", "what the aggregator keeps"),
        Row("orders", "EUR/a", "homes_cost + bonus + commission", "what the grid operator pays for flexibility"),
        Row("compensation", "EUR/a", "homes_cost + bonus", "what of it the homes get"),
        Row("platform", "EUR/a", "members * platform_eur_per_home_year", "forecasts, metering data, settlement"),
        Row(
            "reinforcement",
            "EUR/a",
            f"transformer_eur * {annuity('grid_life_years')}",
            "a larger transformer as an annuity, saved each year it is put off",
        ),
        Row(
            "operator_net", "EUR/a", "reinforcement - orders - platform", "what the grid operator saves by not building"
        ),
        Row(
            "islanding",
            "EUR/a",
            "(unserved_without - unserved_island) * outage_eur_per_kwh * outages_per_year",
            "load that the island serves in outages",
        ),
        Row(
            "island_net",
            "EUR/a",
            f"islanding - island_eur * {annuity('grid_life_years')}",
            "the same less the gear for it: decided apart, and in no other sum",
        ),
        Row("prosumer_net", "EUR/a", "bonus / members", "per prosumer and year: what it keeps"),
        Row(
            "system_net",
            "EUR/a",
            "(reinforcement - homes_cost - platform) / members",
            "per prosumer and year: reinforcement put off less all cost of flexibility",
        ),
    ),
    flows=(
        Flow("grid operator", "aggregator", "orders", "flexibility on congested days"),
        Flow("grid operator", "aggregator", "platform", "availability"),
        Flow("aggregator", "homes", "compensation", "what keeping the limit costs them, and the bonus"),
        Flow(
            "homes",
            "suppliers, wear",
            "homes_cost",
            "feed-in that is lost, energy bought at dearer times, battery wear",
        ),
        Flow("aggregator", "its suppliers", "platform", "forecasts, metering data, settlement"),
    ),
    varied=("transformer_eur", "congested_days_per_year", "platform_eur_per_home_year"),
)
