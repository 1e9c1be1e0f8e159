-- `depleted` respects the minimum interval between alerts, as `low` does. Processes of the release before do not write the column; until
-- they have ended, depleted_since tells the same of an episode that is not over.
alter table wallet add column depleted_alerted_at timestamptz;
