import type { Command } from 'commander';
import { z } from 'zod';
import { SecretBox } from '../crypto/secret-box.ts';
import { readInstallationId } from '../db/installation.ts';
import { RefusalError } from '../errors.ts';
import { listMerchants } from '../merchants/merchant-store.ts';
import { countElsewhere, type EndpointsElsewhere } from '../outgoing/endpoints-elsewhere.ts';
import type { MoveStep } from '../outgoing/move/move.ts';
import { merchantsWithEndpoints } from '../outgoing/move/store.ts';
import { moveToEmbedded } from '../outgoing/move/to-embedded.ts';
import { moveToSvix } from '../outgoing/move/to-svix.ts';
import { SvixAccount } from '../outgoing/svix/account.ts';
import { type Adoption, adopt } from '../outgoing/svix/adopt.ts';
import { isSvixError, readSvixFailure } from '../outgoing/svix/answers.ts';
import { type ApplicationIdentity, identitiesFrom } from '../outgoing/svix/applications.ts';
import { checkSvix } from '../outgoing/svix/check.ts';
import { describeSvixFailure } from '../outgoing/svix/failures.ts';
import { publicRefusal } from '../views/refusals.ts';
import { addCommand, flag, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { printError, progressLine, properties, table } from './output.ts';
import { oneOf } from './values.ts';

const merchant = takes(
  '--merchant <id>',
  'of one merchant alone (default: of all)',
  z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'wants the id of a merchant')
    .optional(),
);
const dryRun = flag('--dry-run', 'only show what would be done');

/** Which sender delivers webhooks, and where each merchant's endpoints are kept. */
export function addWebhookCommands(group: Command): void {
  addStatusCommand(group);
  addMoveCommand(group);
  addAdoptCommand(group);
}

function addStatusCommand(group: Command): void {
  addCommand(group, {
    name: 'status',
    summary: 'Show who delivers webhooks, this installation at Svix, and endpoints that the other sender has',
    takes: {},
    async run(_input, context) {
      const installationId = await readInstallationId(context.db);
      const account = svixAccount(context);
      const sender = account === null ? 'embedded' : 'svix';
      const problem = account === null ? null : await checkSvix(account, installationId);
      const elsewhere: EndpointsElsewhere = await countElsewhere(context.db, sender);
      const json = {
        installation_id: installationId,
        sender,
        server: account === null ? null : (context.config.SVIX_SERVER_URL ?? 'cloud'),
        problem,
        endpoints_elsewhere: elsewhere.endpoints,
      };
      const other = sender === 'svix' ? 'not moved to Svix' : 'still at Svix';
      const text = properties({
        installation: installationId,
        sender: account === null ? 'embedded' : `Svix (${json.server})`,
        problem,
        [other]: elsewhere.endpoints === 0 ? 'none' : `${elsewhere.endpoints} endpoints: chokin webhooks move --help`,
      });
      return { json, text, isFailure: problem !== null };
    },
  });
}

function addMoveCommand(group: Command): void {
  addCommand(group, {
    name: 'move',
    summary: 'Take endpoints from the embedded sender to Svix, or back',
    details:
      'Address, description, event types, headers, secret and whether it is disabled. Messages under way finish where they are. Which side sends is decided by SVIX_TOKEN alone: run this, then restart with or without it. To run it again does no harm.',
    takes: {
      to: takes('--to <sender>', 'svix or embedded', oneOf(['svix', 'embedded'])),
      merchant,
      dryRun,
      again: flag('--again', 'to Svix: take the settings here for the newest, also of endpoints moved there before'),
    },
    async run(input, context) {
      const account = requireSvix(context);
      const options = {
        pool: context.pool,
        account,
        box: new SecretBox(context.config.ENCRYPTION_KEY),
        clock: context.clock,
        allowPrivate: context.config.ALLOW_PRIVATE_ENDPOINTS,
        isDryRun: input.dryRun,
        isAgain: input.again,
      };
      const move = input.to === 'svix' ? moveToSvix : moveToEmbedded;
      const merchants = input.to === 'svix' ? await merchantsWithEndpoints(context.db) : null;
      const steps = await forMerchants(
        context,
        { where: account.where, merchantId: input.merchant, merchants },
        (identity) => move(options, identity),
      );
      const items = steps.flatMap(({ merchantId, result }) => result.map((step) => stepResponse(merchantId, step)));
      const rows = items.map((one) => [one.merchant_id, one.endpoint_id, one.svix_endpoint_id, one.url, one.action]);
      const problems = items.filter(({ problem }) => problem !== null);
      for (const one of problems) printError(`${one.url}: ${one.problem}`);
      const shown = table(['merchant', 'here', 'at Svix', 'URL', ''], rows, 'There is nothing to move.');
      const json = { to: input.to, dry_run: input.dryRun, items };
      return { json, text: input.dryRun ? `${shown}\nNothing was changed.` : shown, isFailure: problems.length > 0 };
    },
  });
}

function addAdoptCommand(group: Command): void {
  addCommand(group, {
    name: 'adopt',
    summary: 'Take over the applications at Svix that the first release made for the merchants',
    details:
      'That release named them by the merchant alone, so another installation with the same token may have made them: look at the endpoints with --dry-run first. An application that another installation has marked is never taken.',
    takes: { merchant, dryRun },
    async run(input, context) {
      const account = requireSvix(context);
      const results = await forMerchants(
        context,
        { where: account.where, merchantId: input.merchant, merchants: null },
        (identity) => adoptOrSay(account, identity, input.dryRun),
      );
      const items = results
        .filter(({ result }) => result.outcome !== 'none')
        .map(({ merchantId, result }) => adoptionResponse(merchantId, result));
      const rows = items.map((one) => [
        one.merchant_id,
        one.outcome,
        one.endpoints.map(({ url, disabled }) => (disabled ? `${url} (disabled)` : url)).join(', ') || 'no endpoints',
      ]);
      const text = table(['merchant', 'application', 'endpoints'], rows, 'There are no applications to adopt.');
      const isFailure = items.some(({ outcome }) => outcome === 'refused');
      return { json: { dry_run: input.dryRun, items }, text, isFailure };
    },
  });
}

type AdoptionResult = Adoption | { readonly outcome: 'refused'; readonly endpoints: Adoption['endpoints'] };

/** One merchant's application that cannot be adopted keeps no other from being. */
async function adoptOrSay(
  account: SvixAccount,
  identity: ApplicationIdentity,
  isDryRun: boolean,
): Promise<AdoptionResult> {
  try {
    return await adopt(account, identity, isDryRun);
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    printError(publicRefusal(error.refusal).message);
    return { outcome: 'refused', endpoints: [] };
  }
}

interface Which {
  readonly where: string;
  readonly merchantId: string | undefined;
  /** Those that come into question; null for every merchant there is. */
  readonly merchants: readonly string[] | null;
}

const PAGE_SIZE = 200;

async function forMerchants<T>(
  context: CliContext,
  { where, merchantId, merchants }: Which,
  work: (identity: ApplicationIdentity) => Promise<T>,
): Promise<readonly { readonly merchantId: string; readonly result: T }[]> {
  const ids = merchantId === undefined ? (merchants ?? (await allMerchants(context))) : [merchantId];
  const identityOf = identitiesFrom(context.pool);
  const results: { merchantId: string; result: T }[] = [];
  for (const [index, id] of ids.entries()) {
    await context.merchant(id);
    if (ids.length > 1) progressLine(`merchant ${index + 1} of ${ids.length}`);
    try {
      results.push({ merchantId: id, result: await work(await identityOf(id)) });
    } catch (error) {
      if (isSvixError(error)) giveUp(describeSvixFailure(readSvixFailure(error, context.clock.now()), where));
      throw error;
    }
  }
  progressLine(null);
  return results;
}

async function allMerchants({ db }: CliContext): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let pageNumber = 0; ; pageNumber += 1) {
    const page = await listMerchants(db, { pageSize: PAGE_SIZE, pageNumber });
    ids.push(...page.map(({ merchantId }) => merchantId));
    if (page.length < PAGE_SIZE) return ids;
  }
}

/** Null where the embedded sender delivers. */
function svixAccount({ config, clock, pool }: CliContext): SvixAccount | null {
  const { SVIX_TOKEN: token, SVIX_SERVER_URL: serverUrl } = config;
  if (token === undefined) return null;
  return new SvixAccount({
    token,
    clock,
    identityOf: identitiesFrom(pool),
    ...(serverUrl === undefined ? {} : { serverUrl }),
  });
}

function requireSvix(context: CliContext): SvixAccount {
  const account = svixAccount(context);
  return account ?? giveUp('This reads and writes Svix: set SVIX_TOKEN (and SVIX_SERVER_URL) for it.');
}

function stepResponse(merchantId: string, step: MoveStep) {
  const { action, url, endpointId, svixEndpointId, problem } = step;
  return {
    merchant_id: merchantId,
    endpoint_id: endpointId,
    svix_endpoint_id: svixEndpointId,
    url,
    action,
    problem,
  };
}

function adoptionResponse(merchantId: string, { outcome, endpoints }: AdoptionResult) {
  const items = endpoints.map(({ svixEndpointId, url, disabled }) => ({
    svix_endpoint_id: svixEndpointId,
    url,
    disabled,
  }));
  return { merchant_id: merchantId, outcome, endpoints: items };
}
