"""From SOP instances to encoder inputs."""
