"""The worker that tells the world: events of the books, delivered to the sinks of the settings, at least once each.

`configuration` reads the sinks, `worker` runs the couriers, `courier` delivers to one sink; each kind of sink is a module.
"""
