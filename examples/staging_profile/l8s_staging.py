"""A whole plugin: everyone who installs it has the profile ``staging``."""

import l8s_core as l8s


@l8s.hookimpl
def l8s_profiles():
    yield l8s.Profile(
        name="staging",
        remote_host="staging.example.com",
        remote_user="root",
        labels={"team": "platform"},
    )
