"""`python -m extend.cli` is `extend`."""

import sys

from extend.cli.main import main

sys.exit(main())
