"""SunSpec: models compiled from the published definitions (`layout`), found (`scan`), and written (`recipes`)."""
