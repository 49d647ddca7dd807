"""The one partition set: a batch of prompts that came in together."""

import dagster as dg

BATCHES = dg.DynamicPartitionsDefinition(name="batch")
ASKED_TAG = "preppo/batches"  # which batches a run was asked for; a range of partitions is positional and can skip
ALL_BATCHES = dg.AllPartitionMapping()
