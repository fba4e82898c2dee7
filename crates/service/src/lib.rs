//! What every service needs: configuration, telemetry, health, lifecycle, auth.
