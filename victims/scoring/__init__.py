"""From a poison set and protocols to jobs, and from jobs to rows."""
