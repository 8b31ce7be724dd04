"""Numbers and how to show them: metrics, intervals, plots, reports, benchmark results.

Metrics are pure functions of arrays (1 harmful, 0 benign; a row is flagged where its score is at
or above the threshold). Nothing here knows a model, a file format of examples or a server.
"""

from custodes.measure.account import to_report
from custodes.measure.agreement import cohen_kappa, fleiss_kappa
from custodes.measure.benchmark import (
    Figure,
    collect_results,
    fidelity_table,
    read_results,
    target_met,
    write_results,
)
from custodes.measure.bootstrap import (
    bootstrap,
    bootstrap_difference,
    crossed_rate,
    interval_of,
    resample,
)
from custodes.measure.calibration import (
    Reliability,
    brier,
    expected_calibration_error,
    reliability_curve,
)
from custodes.measure.evaluation import Evaluation, Replies, Slice, evaluate
from custodes.measure.heat import heat_map
from custodes.measure.intervals import Interval, clopper_pearson, over_seeds, wilson
from custodes.measure.leak import LeakSummary, leak_before_stop, relative_leak, summarize_leaks
from custodes.measure.memory import peak_memory
from custodes.measure.plots import (
    Series,
    forest_plot,
    histogram_plot,
    line_plot,
    pr_plot,
    reliability_plot,
    roc_plot,
)
from custodes.measure.ranking import auprc, auroc, pr_curve, roc_curve
from custodes.measure.rates import (
    f1_at,
    precision_at,
    rate_above,
    recall_at,
    recall_at_fpr,
    threshold_at_fpr,
)
from custodes.measure.report import Card, Cards, Plot, Plots, Prose, Report, Section, Table
from custodes.measure.sections import (
    check_sections,
    measure_section,
    merge_section,
    write_figures,
    write_sections,
)

__all__ = [
    "Card",
    "Cards",
    "Evaluation",
    "Figure",
    "Interval",
    "LeakSummary",
    "Plot",
    "Plots",
    "Prose",
    "Reliability",
    "Replies",
    "Report",
    "Section",
    "Series",
    "Slice",
    "Table",
    "auprc",
    "auroc",
    "bootstrap",
    "bootstrap_difference",
    "brier",
    "check_sections",
    "clopper_pearson",
    "cohen_kappa",
    "collect_results",
    "crossed_rate",
    "evaluate",
    "expected_calibration_error",
    "f1_at",
    "fidelity_table",
    "fleiss_kappa",
    "forest_plot",
    "heat_map",
    "histogram_plot",
    "interval_of",
    "leak_before_stop",
    "line_plot",
    "measure_section",
    "merge_section",
    "over_seeds",
    "peak_memory",
    "pr_curve",
    "pr_plot",
    "precision_at",
    "rate_above",
    "read_results",
    "recall_at",
    "recall_at_fpr",
    "relative_leak",
    "reliability_curve",
    "reliability_plot",
    "resample",
    "roc_curve",
    "roc_plot",
    "summarize_leaks",
    "target_met",
    "threshold_at_fpr",
    "to_report",
    "wilson",
    "write_figures",
    "write_results",
    "write_sections",
]
