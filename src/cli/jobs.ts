import type { Command } from 'commander';
import { z } from 'zod';
import { type DeadJob, deadJobs, deadLetterOf, QUEUE_NAMES, type QueueName, queueBacklogs } from '../db/queues.ts';
import { redriveEvents } from '../inbox/recover-dead.ts';
import { addCommand, takes } from './command.ts';
import { properties, table, time } from './output.ts';
import { count } from './values.ts';

const DEFAULT_LIMIT = 20;
const DEFAULT_REDRIVEN = 1000;
const QUEUE_ERROR = { error: `wants one of ${QUEUE_NAMES.join(', ')}` };

const queueName = z
  .string(QUEUE_ERROR)
  .transform((text) => QUEUE_NAMES.find((name) => name === text))
  .refine((name): name is QueueName => name !== undefined, QUEUE_ERROR);

/** The work of all merchants that waits, and what was given up of it. */
export function addJobCommands(group: Command): void {
  addCommand(group, {
    name: 'list',
    summary: 'Show how many jobs each queue holds',
    takes: {},
    async run(_input, { db }) {
      const items = await queueBacklogs(db);
      const rows = items.map(({ name, due, dead }) => [name, due, dead]);
      return { json: { items }, text: table(['queue', 'due', 'given up'], rows, 'No queues.') };
    },
  });

  addCommand(group, {
    name: 'dead',
    summary: 'List the jobs of a queue that were given up, oldest first',
    takes: {
      queue: takes('<queue>', QUEUE_NAMES.join(', '), queueName),
      limit: takes(
        '--limit <count>',
        `how many at most (default: ${DEFAULT_LIMIT})`,
        count(1, 1000).default(DEFAULT_LIMIT),
      ),
    },
    async run({ queue, limit }, { db }) {
      const items = (await deadJobs(db, queue, limit)).map(jobResponse);
      const rows = items.map((job) => [time(job.since), job.retries, job.error, JSON.stringify(job.data)]);
      return { json: { items }, text: table(['given up', 'retries', 'error', 'about'], rows, 'None was given up.') };
    },
  });

  addCommand(group, {
    name: 'redrive',
    summary: 'Put the jobs of a queue back that were given up',
    details:
      'For when what made them fail is mended; a worker has to run, which does them. Doing a job twice does no harm. Of apply-provider-event, events that were parked because of it are applied again.',
    takes: {
      queue: takes('<queue>', QUEUE_NAMES.join(', '), queueName),
      limit: takes(
        '--limit <count>',
        `how many at most, oldest first (default: ${DEFAULT_REDRIVEN})`,
        count(1, 100_000).default(DEFAULT_REDRIVEN),
      ),
    },
    async run({ queue, limit }, context) {
      const boss = await context.boss();
      const result =
        queue === 'apply-provider-event'
          ? await redriveEvents(context.pool, boss, limit)
          : { redriven: await boss.redrive(deadLetterOf(queue), { limit }), settled: 0 };
      return {
        json: { queue, ...result },
        text: properties({
          queue,
          'put back': result.redriven,
          'handled already': result.settled === 0 ? null : result.settled,
        }),
      };
    },
  });
}

function jobResponse({ id, data, since, retries, error }: DeadJob) {
  return { job_id: id, since: since.toISOString(), retries, error, data };
}
