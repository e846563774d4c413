"""Who bids: classical bidders, and learners that correct them. Start at base.Agent and registry.make_agent."""

from gaelp_ray.agents.base import Action, Agent, State
from gaelp_ray.agents.registry import Reads, agent_reads, agent_types, copies, make_agent, make_policy, reference_bidder

__all__ = [
    "Action",
    "Agent",
    "Reads",
    "State",
    "agent_reads",
    "agent_types",
    "copies",
    "make_agent",
    "make_policy",
    "reference_bidder",
]
