"""From sightings of single images to where every tote is: named tracks that survive occlusion, with honest covariances."""
