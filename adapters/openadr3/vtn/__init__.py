"""A VTN of OpenADR 3: both versions side by side over the programme model.

Layers: `access` (who sees what), `wire` (objects of the model and documents of either version), `subscriptions` (the
adapter's own objects), `server` (HTTP).
"""
