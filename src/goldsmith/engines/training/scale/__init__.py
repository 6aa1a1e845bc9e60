"""Several processes: who starts them, what each holds, and how their parts are put together."""
