"""From one image to one Analysis. Never imports Django; imports torch only where a model runs."""
