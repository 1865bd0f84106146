"""
Which column is odd? DataFrames in and out
==========================================

A detector that says "anomaly" raises the next question: where? ``explain`` says how surprising each
value of a row is, ``repair`` what would make the row normal. Here one measurement of a wine is
falsified, and both are asked which.
"""

# %%
# A table with column names
# -------------------------
# The columns have different units, so each is scaled on its own; ``scaling="auto"`` sees that.

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
# ``set_output`` works as for any transformer: the index is kept and the codes are named.

codes = detector.set_output(transform="pandas").transform(X_test)
print(codes.head(3).round(2).to_string())

# %%
# Falsify one cell
# ----------------
# The row that looked most normal gets three times its flavanoids.

scores = pd.Series(detector.score_samples(X_test), X_test.index)
genuine = X_test.loc[[scores.idxmax()]]
false = genuine.assign(flavanoids=3 * genuine["flavanoids"])
rows = {"genuine": genuine, "falsified": false}
for name, row in rows.items():
    decision, label = detector.decision_function(row)[0], detector.predict(row)[0]
    print(f"{name}: decision {decision:.2f}, predicted {label:+d}")

# %%
# Ask which column it was
# -----------------------
# A surprise says how far the score falls once a value is as the network would have it: 1 is usual
# in normal rows. It comes as a DataFrame with the columns and the index of the rows.

surprises = pd.DataFrame({name: detector.explain(row).iloc[0] for name, row in rows.items()})
surprises = surprises.sort_values("falsified")
print("The most surprising column:", surprises["falsified"].idxmax())

fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
surprises.plot.barh(ax=ax, width=0.8)
ax.set(xlabel="surprise (1 is usual)", ylabel="column")
ax.legend(loc="lower right")
plt.show()

# %%
# Ask what would make it normal
# -----------------------------
# ``repair`` changes few values, no more than it takes for the row to count as normal.

repaired = detector.repair(false)
changed = (repaired != false).iloc[0]
values = {"falsified": false.iloc[0], "repaired": repaired.iloc[0], "genuine": genuine.iloc[0]}
print(pd.DataFrame(values)[changed].round(2).to_string())

# %%
# The largest surprise is a hint and no proof. How often does it name the right column, when every
# cell of the test rows is falsified in turn? A small falsification hides in what is normal anyway.


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
# A table with the same columns in another order is refused, not scored wrongly.

try:
    detector.predict(X_test[X_test.columns[::-1]])
except ValueError as error:
    print(error)
