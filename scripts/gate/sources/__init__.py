"""Where sources come from: git, the emulator, aws-sam-cli."""
