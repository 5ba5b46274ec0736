// Guest images of this host: folders with an image.json, made by images/build.sh.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../base/errors.js'

export interface GuestImage { name: string; kernel: string; initrd: string; append: string }

/** What a simulated VM boots has no files; it goes by the name of the real one, so that requests need not differ. */
export const simulatedImage: GuestImage = { name: 'violin-linux', kernel: '', initrd: '', append: '' }

/** Reads DIR/image.json. Fails with what to do when there is none. */
export async function readImage(folder: string): Promise<GuestImage> {
  let text: string
  try {
    text = await readFile(join(folder, 'image.json'), 'utf8')
  } catch (cause) {
    throw new Failure('failed', `there is no guest image in ${folder}: run ./violin image`, { cause })
  }
  const image = JSON.parse(text) as { format: number; name: string; kernel: string; initrd: string; append: string }
  if (image.format !== 1) throw new Failure('failed', `${folder}/image.json has format ${image.format}, this program reads 1: run ./violin image`)
  return { name: image.name, kernel: join(folder, image.kernel), initrd: join(folder, image.initrd), append: image.append }
}
