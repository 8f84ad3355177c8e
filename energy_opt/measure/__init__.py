"""Running and metering: what work costs on the machine at hand."""
