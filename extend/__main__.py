"""`python -m extend` is `extend`, and so is `torchrun -m extend`."""

import sys

from extend.cli import main

sys.exit(main())
