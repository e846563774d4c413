"""A laptop and several hosts that it reaches by SSH, all on this machine. See hosts.SshHosts."""
