import { execFile } from 'node:child_process';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ROOT } from './support/cli.ts';
import { readAlerts } from './support/ops-files.ts';

const execute = promisify(execFile);

/** Values a minute, in promtool's words: `5` for always 5, `0+60x` for 60 more each minute. */
type Series = Readonly<Record<string, string>>;

interface AlertCase {
  readonly alert: string;
  /** Series that make it fire, by name and labels. */
  readonly fires: Series;
  /** The nearest ones that must not. */
  readonly quiet: Series;
  /** What the alert says of where, besides its severity. */
  readonly labels?: Readonly<Record<string, string>>;
}

const ONE = 'instance="w1",job="chokin-web"';
const WHERE = { instance: 'w1' };
/** One figure of the service that is beyond or at its bound. */
const figure = (alert: string, name: string, [fires, quiet]: readonly [string, string], labels = ''): AlertCase => {
  const series = `${name}{${labels === '' ? '' : `${labels},`}${ONE}}`;
  return { alert, fires: { [series]: fires }, quiet: { [series]: quiet } };
};
const at = (one: AlertCase, labels: Readonly<Record<string, string>> = WHERE): AlertCase => ({ ...one, labels });
/** A counter of which there are so many more a minute, and another. */
const counters = (one: string, perMinute: number, other: string, otherPerMinute: number): Series => ({
  [`${one},${ONE}}`]: `0+${perMinute}x`,
  [`${other},${ONE}}`]: `0+${otherPerMinute}x`,
});
/** A histogram of 60 observations a minute, `slow` of them slower than `bound`. */
const histogram = (name: string, bound: string, slow: number, labels: string): Series => ({
  [`${name}_bucket{le="${bound}",${labels},${ONE}}`]: `0+${60 - slow}x`,
  [`${name}_bucket{le="10",${labels},${ONE}}`]: '0+60x',
  [`${name}_bucket{le="+Inf",${labels},${ONE}}`]: '0+60x',
});

const DELIVERIES = 'chokin_provider_deliveries_total{provider="stripe"';
const REQUESTS = 'chokin_http_request_seconds_count{route="x"';
const ATTEMPTS = 'chokin_delivery_attempts_total{kind="x"';

const CASES: readonly AlertCase[] = [
  figure('ChokinEventsNotApplied', 'chokin_event_pending_oldest_seconds', ['301', '300']),
  figure('ChokinEventsFail', 'chokin_event_failures_total', ['0+1x', '7']),
  at(figure('ChokinJobsDead', 'chokin_jobs_dead', ['1', '0'], 'queue="retain"'), { queue: 'retain' }),
  at(figure('ChokinJobsWait', 'chokin_jobs_due', ['1001', '1000'], 'queue="retain"'), { queue: 'retain' }),
  figure('ChokinEventsParked', 'chokin_events_parked', ['1', '0']),
  {
    alert: 'ChokinDeliveriesRefused',
    fires: counters(`${DELIVERIES},outcome="refused"`, 1, `${DELIVERIES},outcome="stored"`, 0),
    // As many that are refused, but others are taken in: somebody else sends rubbish.
    quiet: counters(`${DELIVERIES},outcome="refused"`, 1, `${DELIVERIES},outcome="stored"`, 1),
    labels: { provider: 'stripe' },
  },
  figure('ChokinDeliveriesTurnedAway', 'chokin_provider_deliveries_total', ['0+1x', '7'], 'outcome="unavailable"'),
  figure('ChokinSchedulesLate', 'chokin_schedule_due_oldest_seconds', ['601', '600']),
  figure('ChokinTopUpsNotCredited', 'chokin_topup_unconfirmed_oldest_seconds', ['3601', '3600']),
  figure('ChokinTopUpsUnknown', 'chokin_topup_unknown_oldest_seconds', ['7201', '7200']),
  figure('ChokinTopUpsLate', 'chokin_topup_late_seconds', ['601', '600']),
  figure('ChokinBooksDisagree', 'chokin_audit_disagreements', ['1', '0']),
  figure('ChokinAuditOld', 'chokin_audit_age_seconds', ['129601', '129600']),
  figure('ChokinReconciliationUnresolved', 'chokin_reconciliation_unresolved', ['1', '0']),
  figure('ChokinReconciliationFailed', 'chokin_reconciliation_failed', ['1', '0']),
  figure('ChokinReconciliationOld', 'chokin_reconciliation_age_seconds', ['86401', '86400']),
  figure('ChokinWebhooksLost', 'chokin_reconciliation_healed', ['0+1x', '100']),
  figure('ChokinWalletsNotAnnounced', 'chokin_wallet_unannounced_oldest_seconds', ['601', '600']),
  figure('ChokinMessagesUnsent', 'chokin_message_unsent_oldest_seconds', ['901', '900']),
  figure('ChokinDeliveriesOverdue', 'chokin_delivery_overdue_oldest_seconds', ['601', '600']),
  figure('ChokinDeliveriesBroken', 'chokin_delivery_attempts_total', ['0+1x', '7'], 'outcome="broken"'),
  {
    alert: 'ChokinEndpointsFail',
    fires: counters(`${ATTEMPTS},outcome="failed"`, 3, `${ATTEMPTS},outcome="delivered"`, 2),
    quiet: counters(`${ATTEMPTS},outcome="failed"`, 2, `${ATTEMPTS},outcome="delivered"`, 2),
  },
  at(figure('ChokinDown', 'up', ['0', '1']), { ...WHERE, job: 'chokin-web' }),
  figure('ChokinDatabaseAway', 'chokin_database_answers', ['0', '1']),
  at(figure('ChokinDatabaseReadOnly', 'chokin_unready', ['1', '0'], 'reason="database_read_only"')),
  at(figure('ChokinSchemaOlder', 'chokin_unready', ['1', '0'], 'reason="schema_unreadable"')),
  at(figure('ChokinSecretsDoNotOpen', 'chokin_encryption_keys_missing', ['1', '0'])),
  at(figure('ChokinSendingHeld', 'chokin_sending_held', ['1', '0'])),
  at(figure('ChokinWritesRefused', 'chokin_unready', ['1', '0'], 'reason="no_connection"')),
  {
    alert: 'ChokinPoolSaturated',
    fires: { [`chokin_pool_connections{state="waiting",${ONE}}`]: '1' },
    // Somebody waits now and then.
    quiet: {
      [`chokin_pool_connections{state="waiting",${ONE}}`]:
        '1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0',
    },
    labels: { ...WHERE, job: 'chokin-web', state: 'waiting' },
  },
  at(figure('ChokinClockWrong', 'chokin_clock_ahead_seconds', ['-31', '30']), { ...WHERE, job: 'chokin-web' }),
  {
    alert: 'ChokinServerErrors',
    fires: counters(`${REQUESTS},fault="server"`, 2, `${REQUESTS},fault="none"`, 100),
    quiet: counters(`${REQUESTS},fault="server"`, 1, `${REQUESTS},fault="none"`, 100),
  },
  {
    ...figure('ChokinLimited', 'chokin_limited_total', ['0+61x', '0+60x'], 'who="merchant",limit="readers"'),
    labels: { who: 'merchant', limit: 'readers' },
  },
  {
    alert: 'ChokinPostingsWait',
    fires: histogram('chokin_lane_wait_seconds', '1', 1, 'lane="ledger"'),
    quiet: histogram('chokin_lane_wait_seconds', '1', 0, 'lane="ledger"'),
  },
  {
    alert: 'ChokinCommitsSlow',
    fires: histogram('chokin_lane_commit_seconds', '0.25', 1, 'lane="inbox"'),
    quiet: histogram('chokin_lane_commit_seconds', '0.25', 0, 'lane="inbox"'),
    labels: { lane: 'inbox' },
  },
  at(figure('ChokinEventLoopBlocked', 'nodejs_eventloop_lag_p99_seconds', ['0.51', '0.5'])),
];

/** Longer than any rule waits; and more than a day for the one that compares with the day before. */
const minutesFor = (alert: string) => (alert === 'ChokinWebhooksLost' ? 25 * 60 : 3 * 60);

function ruleTest({ alert, labels = {}, ...series }: AlertCase, what: 'fires' | 'quiet', severity: string) {
  const minutes = minutesFor(alert);
  const said = Object.entries({ alertname: alert, alertstate: 'firing', severity, ...labels });
  const text = `ALERTS{${said.map(([name, value]) => `${name}="${value}"`).join(',')}}`;
  return {
    name: `${alert} ${what}`,
    interval: '1m',
    // A counter ends in `x`; what stands still goes on as it is.
    input_series: Object.entries(series[what]).map(([name, values]) => ({
      series: name,
      values: values.endsWith('x') ? `${values}${minutes}` : `${values}x${minutes}`.replace(/^(\S+)x(\d+)$/, '$1+0x$2'),
    })),
    promql_expr_test: [
      {
        expr: `ALERTS{alertname="${alert}",alertstate="firing"}`,
        eval_time: `${minutes}m`,
        exp_samples: what === 'fires' ? [{ labels: text, value: 1 }] : [],
      },
    ],
  };
}

/** Prometheus' own tool, which comes with it (Debian: `prometheus`). */
async function findPromtool(): Promise<string | null> {
  const folders = (process.env.PATH ?? '').split(delimiter);
  for (const file of [process.env.PROMTOOL ?? '', ...folders.map((folder) => join(folder, 'promtool'))]) {
    const isThere =
      file !== '' &&
      (await access(file).then(
        () => true,
        () => false,
      ));
    if (isThere) return file;
  }
  return null;
}

const promtool = await findPromtool();
if (promtool === null)
  console.warn(
    'SKIPPED: promtool is not on the PATH (Debian: apt install prometheus) and PROMTOOL is not set, so no alert was fired',
  );

describe('each alert rule', () => {
  it('has series here that make it fire, and the nearest that do not', async () => {
    const alerts = (await readAlerts()).map(({ alert }) => alert);
    expect(CASES.map(({ alert }) => alert).toSorted()).toEqual(alerts.toSorted());
  });

  it.skipIf(promtool === null)('fires by its series once it has waited, and not by the others', async () => {
    const severities = new Map((await readAlerts()).map(({ alert, labels }) => [alert, labels.severity]));
    const tests = CASES.flatMap((one) => {
      const severity = severities.get(one.alert) ?? '';
      return [ruleTest(one, 'fires', severity), ruleTest(one, 'quiet', severity)];
    });
    const folder = await mkdtemp(join(tmpdir(), 'chokin-alerts-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'tests.json');
    const rules = join(ROOT, 'ops/alerts.yml');
    await writeFile(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '5m', tests }));
    const { stdout } = await execute(promtool ?? '', ['test', 'rules', file]).catch((error) => error);
    expect(stdout).toContain('SUCCESS');
  });
});
