"""`python -m eval NAME`: evaluations beside scripts written apart. Ends with 1 where what was asked for is not met."""

from bulk.measurements import main
from eval import same, speed

if __name__ == "__main__":
    main("eval", __doc__, (same, speed))
