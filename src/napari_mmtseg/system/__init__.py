"""What any program needs: whole files, memory in advance, one sentence for what went wrong."""
