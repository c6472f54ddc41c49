"""How a community shares what it gains by acting as one, so that nobody loses.

**Clearing** at the mid-market rate. Behind one meter the community pays `buy` for what it imports as a whole, gets
`sell` for what it exports, and pays `fee` on what members take from each other. In each ISP that changes hands half way
between both prices, seller and buyer each bearing half of the fee; what remains comes from or goes to the supplier at
its price, shared by all buyers or all sellers in proportion. So

    sum of members' payments = the community's bill                                                    (budget balance)

and since, with a fee of at most buy - sell, buyers' and sellers' mean prices lie within sell..buy, each member pays for
its powers at most what its own supplier would have charged:

    payment <= buy * import - sell * export                                                            (nobody loses)

**Redistribution.** Acting as one changes what devices do, and forecasts err; so against having *acted* alone a member
might still lose. Therefore the gain (bills alone minus the bill together) is shared out: each member pays what it would
have paid alone less its share, in proportion to what clearing would save it (nothing where clearing saves it nothing).
With a gain of zero or more every payment is at most the bill alone, and payments add up to the community's bill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shares", "clear", "local_prices", "share"]

Floats = NDArray[np.float64]


def local_prices(net_kw: Floats, buy: Floats, sell: Floats, fee: Floats | float = 0.0) -> tuple[Floats, Floats]:
    """Mean price that buyers pay and that sellers get (T,), EUR/kWh, from members' powers (N,T).

    Where nobody buys or nobody sells, that side's price is the supplier's.
    """
    taken, given = np.maximum(net_kw, 0.0).sum(axis=0), np.maximum(-net_kw, 0.0).sum(axis=0)
    exchanged, middle = np.minimum(taken, given), (buy + sell) / 2
    of_taken = np.divide(exchanged, taken, out=np.zeros_like(taken), where=taken > 0)
    of_given = np.divide(exchanged, given, out=np.zeros_like(given), where=given > 0)
    bought, sold = middle + fee / 2, middle - fee / 2
    return np.asarray(buy + of_taken * (bought - buy)), np.asarray(sell + of_given * (sold - sell))


def clear(net_kw: Floats, buy: Floats, sell: Floats, hours: float, fee: Floats | float = 0.0) -> Floats:
    """What each member (N,) pays at the local prices, EUR; adds up to the community's bill."""
    bought, sold = local_prices(net_kw, buy, sell, fee)
    return np.asarray(hours * (np.maximum(net_kw, 0.0) @ bought - np.maximum(-net_kw, 0.0) @ sold))


@dataclass(frozen=True, slots=True)
class Shares:
    """EUR per member (N,): what it would have paid alone, what it pays, and by how much that is less."""

    alone_eur: Floats
    paid_eur: Floats

    @property
    def gain_eur(self) -> Floats:
        return self.alone_eur - self.paid_eur


def share(alone_eur: Floats, cleared_eur: Floats) -> Shares:
    """Share out the gain `sum(alone) - sum(cleared)` over the members (N,), in proportion to max(alone - cleared, 0).

    A loss (negative gain) is shared in proportion to what members would have paid or got alone: then somebody must
    lose, and the caller is to say so. Where there is nothing to be in proportion to, shares are equal.
    """
    gain = float(alone_eur.sum() - cleared_eur.sum())
    weight = np.maximum(alone_eur - cleared_eur, 0.0) if gain >= 0 else np.abs(alone_eur)
    total = float(weight.sum())
    part = weight / total if total > 0 else np.full(len(alone_eur), 1.0 / len(alone_eur))
    return Shares(alone_eur, np.asarray(alone_eur - gain * part))
