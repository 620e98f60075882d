"""From one snapshot to one bundle. May import inference, never the reverse. Never imports Django."""
