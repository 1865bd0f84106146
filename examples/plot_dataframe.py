"""
Find the odd column of a row, with DataFrames
=============================================

``explain`` returns how surprising each value of a row is. ``repair`` returns changes that would
make the row normal. Here one measurement of a wine is falsified, and both are used to find it.
"""

# %%
# A table with column names
# -------------------------
# The columns have different units. ``scaling="auto"`` detects this and scales each one separately.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from aedetect import AutoencoderTransformer

X, _ = load_wine(return_X_y=True, as_frame=True)
X_train, X_test = train_test_split(X, test_size=0.2, random_state=0)
detector = AutoencoderTransformer(4, hidden_layer_sizes=(32,), random_state=0).fit(X_train)
print("Columns:", *detector.feature_names_in_)

# %%
# Codes as a DataFrame
# --------------------
# ``set_output`` works as for any transformer. The index is kept, and the codes have names.

codes = detector.set_output(transform="pandas").transform(X_test)
print(codes.head(3).round(2).to_string())

# %%
# Falsify one cell
# ----------------
# The flavanoids of the most normal test row are tripled.

scores = pd.Series(detector.score_samples(X_test), X_test.index)
genuine = X_test.loc[[scores.idxmax()]]
false = genuine.assign(flavanoids=3 * genuine["flavanoids"])
rows = {"genuine": genuine, "falsified": false}
for name, row in rows.items():
    decision, label = detector.decision_function(row)[0], detector.predict(row)[0]
    print(f"{name}: decision {decision:.2f}, predicted {label:+d}")

# %%
# Find the falsified column
# -------------------------
# The surprise of a value is how far the anomaly score falls when the network restores the value. 1
# is usual in normal rows. ``explain`` returns a DataFrame with the columns and the index of the
# rows.

surprises = pd.DataFrame({name: detector.explain(row).iloc[0] for name, row in rows.items()})
surprises = surprises.sort_values("falsified")
print("The most surprising column:", surprises["falsified"].idxmax())

fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
surprises.plot.barh(ax=ax, width=0.8)
ax.set(xlabel="surprise (1 is usual)", ylabel="column")
ax.legend(loc="lower right")
plt.show()

# %%
# Make the row normal
# -------------------
# ``repair`` changes few values, and only as far as needed for the row to count as normal.

repaired = detector.repair(false)
changed = (repaired != false).iloc[0]
values = {"falsified": false.iloc[0], "repaired": repaired.iloc[0], "genuine": genuine.iloc[0]}
print(pd.DataFrame(values)[changed].round(2).to_string())

# %%
# The largest surprise may be in the wrong column. Here every cell of the test rows is falsified in
# turn, and the table shows how often the falsified column has the largest surprise. Small
# falsifications stay within the normal range and are hard to find.


def share_named(column, factor):
    """Return the share of test rows where ``column`` is the most surprising."""
    falsified = X_test.assign(**{column: factor * X_test[column]})
    return (detector.explain(falsified).idxmax(axis="columns") == column).mean()


factors = [1.5, 3, 10]
named = pd.DataFrame({f"times {f}": {c: share_named(c, f) for c in X} for f in factors})
named.loc["mean"] = named.mean()
print(named.round(2).to_string())

# %%
# Columns are checked by name
# ---------------------------
# A table whose columns are in another order is refused.

try:
    detector.predict(X_test[X_test.columns[::-1]])
except ValueError as error:
    print(error)
