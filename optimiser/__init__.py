"""Portfolio in, plans out: no I/O, no clock, seeded.

    plan          the cheapest schedule of all homes under the limits of their congestion points
    offers        what helping a grid operator costs, in several sizes
    replan        the same day again, from where it stands now
    islanded      homes cut off from the grid, balanced on their own and brought back
    disaggregate  set points in whole W that add up to what was promised
    diagnose      what cannot be had, where, and by how much

Everything is arrays, homes first, import positive, kW / kWh / EUR / h (`Portfolio`, `Limits`, `Tariffs`);
`optimiser.edge` translates to and from canonical objects in W. Contradictory input raises `InputError` with all
problems; what merely cannot be reached is planned as well as possible and reported.
"""

from optimiser.disaggregation import SetPoints, disaggregate
from optimiser.envelopes import Shortfall
from optimiser.island import Island, Islanded, islanded
from optimiser.offering import PricedOption, Request, offers
from optimiser.planning import diagnose, plan
from optimiser.plans import Plan, Status
from optimiser.portfolio import Appliances, InputError, Limits, Modes, Portfolio, Tariffs, check
from optimiser.rolling import Reach, State, replan

__all__ = [
    "Appliances",
    "InputError",
    "Island",
    "Islanded",
    "Limits",
    "Modes",
    "Plan",
    "Portfolio",
    "PricedOption",
    "Reach",
    "Request",
    "SetPoints",
    "Shortfall",
    "State",
    "Status",
    "Tariffs",
    "check",
    "diagnose",
    "disaggregate",
    "islanded",
    "offers",
    "plan",
    "replan",
]
