"""The grid operator's desk: power flow, congestion, the choice among offers, and settlement."""
