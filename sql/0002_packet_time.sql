-- Schema radius, revision 0002: indexes of what every interim updates, and of what every cold login asks.

-- An interim moves last_used_at. While an index held it, also in its condition, the grant's new version could not stay beside
-- the old one and went into all six indexes anew. Who looks for the ends of these few grants reads them all anyway.
DROP INDEX radius.entitlement_idle;
CREATE INDEX entitlement_idle ON radius.entitlement (entitlement_id)
    WHERE ended_at IS NULL AND seconds_after_last_use IS NOT NULL;

-- Only for questions that name a NAS. By its old condition it stood for "every live session" too, and a plan made while there
-- were few of them took it, instead of session_live, to find those of one account.
DROP INDEX radius.session_live_nas;
CREATE INDEX session_live_nas ON radius.session (nas_address) WHERE stopped_at IS NULL AND nas_address IS NOT NULL;
