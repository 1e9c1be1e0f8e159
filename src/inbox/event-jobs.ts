/**
 * SQL for the ids of the events that jobs are to apply, now or later, of the jobs `j` for which a condition holds. Payloads of pg-boss are its
 * own business, but a job of ours can only be known by what we put into it.
 */
export function eventsWithJobs(condition = 'true'): string {
  return `(select j.data ->> 'eventId' from pgboss.job j
      where j.name = 'apply-provider-event' and j.state in ('created', 'retry', 'active') and ${condition}
      union all
      select given.event ->> 1 from pgboss.job j
      cross join lateral jsonb_array_elements(
        case when jsonb_typeof(j.data -> 'events') = 'array' then j.data -> 'events' else '[]' end) given (event)
      where j.name = 'apply-provider-events' and j.state in ('created', 'retry', 'active') and ${condition})`;
}
