"""The scheduler over HTTP: REST with OpenAPI and problem+json, an event stream, toolpaths by hash, metrics.

May touch: the scheduler object it is given. In: people's and programs' requests; out: views, and refusals that say
what, why and what to do. No state changes by GET.
"""
