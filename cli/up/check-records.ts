// Reads every record of a state folder as the program would later, so that what cannot be read is told before anything is started.
// Changes nothing.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../../base/errors.js'
import { readableOr, readRecord, type Form } from '../../base/records.js'
import { openFederation } from '../../certs/issue.js'
import type { Replacement } from '../../hosts/layer-chains.js'
import { imageForm } from '../../hosts/images.js'
import { cutJournalForm } from '../../hosts/participants.js'
import { restoreJournalForm, wentForm } from '../../hosts/restore-journal.js'
import { marksForm } from '../../hosts/slice-marks.js'
import { vmRecordForm } from '../../hosts/vm-records.js'
import { preparedForm } from '../../overlay/switch.js'
import { outcomeForm } from '../../snapshots/image-store.js'
import { inventoryForm } from '../../snapshots/inventory.js'
import type { Layout } from './layout.js'

const told = 5
const replacementForm: Form<Replacement> = { format: 1 }

/** Fails with the names of what cannot be read. What Redis holds is read when it runs: there one record costs only itself. */
export async function checkEverything(layout: Layout): Promise<void> {
  const wrong: string[] = []
  const lost = (why: string) => { wrong.push(why) }
  async function each<T extends object>(folder: string, ending: string, form: Form<T>): Promise<void> {
    for (const name of namesIn(folder).filter((n) => n.endsWith(ending))) await readableOr(() => readRecord(join(folder, name), form), lost)
  }
  await each(join(layout.host, 'vms'), '.json', vmRecordForm)
  await each(join(layout.host, 'slices'), '.json', marksForm)
  await each(join(layout.host, 'cuts'), '.json', cutJournalForm)
  await each(join(layout.host, 'restores'), '.json', restoreJournalForm)
  await each(join(layout.host, 'restores'), '.went', wentForm)
  await each(join(layout.host, 'layers'), '.replaces', replacementForm)
  await each(join(layout.host, 'images'), '.json', imageForm)
  await each(layout.switch, '.json', preparedForm)
  for (const slice of namesIn(layout.store)) {
    await each(join(layout.store, slice, 'restores'), '.outcome', outcomeForm)
    for (const id of namesIn(join(layout.store, slice))) {
      await readableOr(() => readRecord(join(layout.store, slice, id, 'outcome'), outcomeForm), lost)
      await readableOr(() => readRecord(join(layout.store, slice, id, 'inventory.json'), inventoryForm), lost)
    }
  }
  if (existsSync(join(layout.federation, 'federation.json'))) await readableOr(() => openFederation(layout.federation), lost)
  if (wrong.length === 0) return
  throw new Failure('damaged', `of the records in ${layout.state} ${wrong.length} cannot be read: ${wrong.slice(0, told).join('; ')}` +
    `${wrong.length > told ? '; ...' : ''}. Nothing was started or changed. Use the program that wrote them, or move these files away to go on without them`)
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}
