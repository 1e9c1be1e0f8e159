-- The rest of what 0032 began, for tables that came after it. None of it waits for rows, nor do reads and writes wait for it.

-- Written once. Vacuum marks their pages as seen by all and frozen while these are still in memory, a twentieth of the table at a time, instead of a fifth.
alter table closed_hold set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table hold_capture set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table closed_lot set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table lot_movement set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table lot_change set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
alter table wallet_status_change set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

-- Changed once or a few times in a row's life.
alter table checkout set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table topup set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table scheduled_entry set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
alter table grant_schedule set (autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
-- Each audit changes the rows of the wallets that were busy; room in new pages lets it write no index.
alter table audit_mark set (fillfactor = 80, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05);

-- Changed by every posting that draws on them, and emptied.
alter table hold set (autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
alter table lot set (autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
-- Work lists: read from their oldest row, past all that died and was not cleaned up.
alter table wallet_due set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
alter table checkout_due set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
alter table topup_due set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
