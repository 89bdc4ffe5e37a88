# Writes the reference values of the statistics tests: python3 -m pip install scipy==1.17.1; python3 test/reference.py > test/reference.json
import json
from scipy.stats import chi2, chi2_contingency, fisher_exact

TABLES = [(10, 1000, 3, 100), (0, 900, 1, 100), (5, 4500, 25, 500), (450, 9000, 55, 1000), (100, 100000, 20, 10000), (40, 4500, 0, 500), (2, 60, 0, 50), (30, 600, 300, 700), (0, 500, 0, 500), (500, 500, 480, 500), (1000, 1000000, 1300, 1000000)]
ROWS = [([300, 350, 250], [33, 40, 27]), ([3000, 3500, 2500], [250, 450, 300]), ([10, 20], [30, 25]), ([12, 9, 30, 44, 8], [20, 11, 25, 60, 14]), ([1500, 1500, 1500], [100, 300, 100])]
TAILS = [(x, k) for k in (1, 2, 3, 9, 40) for x in (0.001, 0.5, 3, 12, 60, 300)]

json.dump({
    "fisher": [{"old": [a, n], "new": [b, m], "p": fisher_exact([[b, a], [m - b, n - a]], alternative="greater").pvalue} for a, n, b, m in TABLES],
    "pearson": [{"old": o, "new": f, "statistic": (r := chi2_contingency([o, f], correction=False)).statistic, "p": r.pvalue} for o, f in ROWS],
    "tails": [{"x": x, "degrees": k, "p": chi2.sf(x, k)} for x, k in TAILS],
}, __import__("sys").stdout, indent=1)
