"""The aggregator's desk: forecasts, plans, offers, dispatch, steering and metering."""
