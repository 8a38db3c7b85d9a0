"""`python -m nextword`: the command line, where the `nextword` script is not on the path."""

import sys

from nextword.cli.main import main

sys.exit(main())
