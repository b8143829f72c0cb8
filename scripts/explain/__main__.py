"""`python -m explain NAME`: measures explanations. Ends with 1 where what was asked for is not met."""

from bulk.measurements import main
from explain import beside, faithful, pointing, speed

if __name__ == "__main__":
    main("explain", __doc__, (pointing, faithful, speed, beside))
