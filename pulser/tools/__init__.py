"""What a step may use besides models and memory. Everybody calls tools through one door: :func:`pulser.tools.call.call`."""
