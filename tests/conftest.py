"""What every test shares: a hypothesis profile that gives the same examples in every run."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    derandomize=True,  # a failure seen once is seen again
    deadline=None,  # machines that run tests are busy
    max_examples=60,  # the whole run is to take less than ten minutes
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", parent=settings.get_profile("steady"), derandomize=False, max_examples=2000)
settings.load_profile("steady")
