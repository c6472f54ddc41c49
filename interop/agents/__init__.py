"""Homes that plan for themselves: an agent per home answers the aggregator's prices over a network.

MAS2TERING's agents are here: devices (the optimiser's stores and powers inside one home), the home or CEMS (`client`),
the aggregator (`floor`, served by `service`); the grid operator speaks through the market or the limits it sets.
"""
