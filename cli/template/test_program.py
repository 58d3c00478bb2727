import unittest

import collatz


class Longest(unittest.TestCase):
    def test_below_a_hundred(self):
        self.assertEqual(collatz.longest(100), (97, 119))


if __name__ == "__main__":
    unittest.main()
