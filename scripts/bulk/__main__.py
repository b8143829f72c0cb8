"""`python -m bulk NAME`: measures bulk runs. Ends with 1 where what was asked for is not met."""

from bulk import beside, capfilt, kohya, ray_speed, size, throughput
from bulk.measurements import main

if __name__ == "__main__":
    main("bulk", __doc__, (beside, capfilt, kohya, ray_speed, size, throughput))
