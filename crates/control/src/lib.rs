//! The shell: mirror, controllers, effects, telemetry.
