"""Campaign flights through an ad market, as gymnasium environments (`gaelp/AdCampaign-v0`)."""

import gymnasium

from gaelp_ray.simulator.campaign import AdCampaignEnv, AdCampaignVectorEnv

__all__ = ["AdCampaignEnv", "AdCampaignVectorEnv"]

gymnasium.register(
    id="gaelp/AdCampaign-v0",
    entry_point="gaelp_ray.simulator.campaign:AdCampaignEnv",
    vector_entry_point="gaelp_ray.simulator.campaign:AdCampaignVectorEnv",
)
