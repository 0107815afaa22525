//! chown placeholder until the engine lands
