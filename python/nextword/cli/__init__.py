"""The command line: a file a command, arguments, text for the eye."""
