"""Choose and run: images, goal, method, presets, Run, Stop and Discard, live view."""
