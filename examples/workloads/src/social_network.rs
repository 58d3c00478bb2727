//! Social Network (`DeathStarBench`'s, as functions): a post is taken apart, enriched, put together, and stored in three
//! places.

use std::collections::BTreeSet;
use std::io::Write as _;

use limitless_faas::{Result, handler, workflow};
use serde::{Deserialize, Serialize};

use crate::loopback::exchange;

/// What a user sends.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Draft {
    pub(crate) author: String,
    pub(crate) text: String,
    /// Edge of the square picture that comes with it, in pixels.
    pub(crate) picture: u32,
}

/// A post as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) creator: Creator,
    pub(crate) text: String,
    pub(crate) mentions: Vec<String>,
    pub(crate) media: String,
}

/// Who wrote a post.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Creator {
    pub(crate) name: String,
    pub(crate) user: String,
}

/// Accepts a post: its text without spaces around it, its author in small letters.
#[handler]
pub(crate) fn compose_post(author: String, text: String, picture: u32) -> Draft {
    Draft { author: author.to_lowercase(), text: text.trim().to_owned(), picture }
}

/// The users that a text mentions, asked from the user service, which knows all but those called `nobody`.
#[handler]
pub(crate) fn upload_user_mentions(text: String) -> Result<Vec<String>> {
    let mentioned: BTreeSet<&str> =
        text.split_whitespace().filter_map(|word| word.strip_prefix('@')).collect();
    let asked = mentioned.into_iter().collect::<Vec<_>>().join("\n");
    let known = exchange(asked.as_bytes(), |asked| {
        let names = String::from_utf8_lossy(asked).into_owned();
        let known: Vec<&str> = names.lines().filter(|name| *name != "nobody").collect();
        known.join("\n").into()
    })?;
    Ok(String::from_utf8_lossy(&known).lines().map(str::to_owned).collect())
}

/// Who an author is: the user's number is the digest of the name.
#[handler]
pub(crate) fn upload_creator(author: String) -> Creator {
    let user = digest(author.as_bytes());
    Creator { name: author, user }
}

/// Scales a picture down to a quarter of its edge and names it by its content.
#[handler]
pub(crate) fn upload_media(picture: u32) -> String {
    let edge = u64::from(picture);
    let shade = |x: u64, y: u64| (x ^ y) & 0xff;
    let pixels: Vec<u64> = (0..edge).flat_map(|y| (0..edge).map(move |x| shade(x, y))).collect();
    let rows: Vec<&[u64]> = pixels.chunks_exact(picture.max(1) as usize).collect();
    let mut scaled = Vec::new();
    for four in rows.chunks_exact(4) {
        for x in (0..four[0].len() / 4).map(|x| 4 * x) {
            let sum: u64 = four.iter().flat_map(|row| &row[x..x + 4]).sum();
            scaled.extend_from_slice(&(sum / 16).to_le_bytes());
        }
    }
    digest(&scaled)
}

/// Shortens the links in a text.
#[handler]
pub(crate) fn upload_text(text: String) -> String {
    let short = |word: &str| match word.strip_prefix("http") {
        Some(_) => format!("http://s.example/{}", &digest(word.as_bytes())[..8]),
        None => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// The post's id, from its author and text: the same post has the same id, however often it is sent.
#[handler]
pub(crate) fn upload_unique_id(author: String, text: String) -> String {
    digest(format!("{author}\n{text}").as_bytes())
}

/// Puts a post together from its parts.
#[handler]
pub(crate) fn compose_and_upload(
    id: String,
    creator: Creator,
    text: String,
    mentions: Vec<String>,
    media: String,
) -> Post {
    Post { id, creator, text, mentions, media }
}

/// Stores a post by its id; the file's path.
#[handler]
pub(crate) fn post_storage(post: Post, folder: String) -> Result<String> {
    store(&folder, &post.id, format!("{post:?}").as_bytes())
}

/// Adds a post to the home timelines of those it mentions; how many these are.
#[handler]
pub(crate) fn upload_home_timeline(post: Post, folder: String) -> Result<usize> {
    for mentioned in &post.mentions {
        store(&folder, &format!("home-{}-{}", digest(mentioned.as_bytes()), post.id), post.id.as_bytes())?;
    }
    Ok(post.mentions.len())
}

/// Adds a post to its author's timeline; the file's path.
#[handler]
pub(crate) fn upload_user_timeline(post: Post, folder: String) -> Result<String> {
    store(&folder, &format!("user-{}-{}", post.creator.user, post.id), post.id.as_bytes())
}

/// Posts something: what can be found out side by side is, and then the post is stored in three places at once.
/// The path of the post.
#[workflow(slo_ms = 100)]
pub(crate) async fn social_network(
    author: String,
    text: String,
    picture: u32,
    folder: String,
) -> Result<String> {
    let draft = compose_post(author, text, picture).await;
    let (mentions, creator, media, short, id) = join!(
        upload_user_mentions(&draft.text),
        upload_creator(&draft.author),
        upload_media(draft.picture),
        upload_text(&draft.text),
        upload_unique_id(&draft.author, &draft.text),
    );
    let post = compose_and_upload(id, creator, short, mentions?, media).await;
    let (path, _mentioned, _timeline) = try_join!(
        post_storage(&post, &folder),
        upload_home_timeline(&post, &folder),
        upload_user_timeline(&post, &folder),
    )?;
    Ok(path)
}

/// A short name for some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}

/// Writes a file of this name onto the disk. Writing the same file twice leaves it as it was.
pub(crate) fn store(folder: &str, name: &str, bytes: &[u8]) -> Result<String> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_data()?;
    let path = std::path::Path::new(folder).join(name);
    file.persist(&path).map_err(|failed| failed.error)?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_goes_all_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap().to_owned();
        let said = " hello @ann and @nobody: https://example.org/a/long/path ".to_owned();
        let said = said.replace("@nobody:", "@nobody");
        let draft = compose_post("Bob".to_owned(), said, 64);
        let (text, author) = (draft.text.clone(), draft.author.clone());
        let post = compose_and_upload(
            upload_unique_id(author.clone(), text.clone()),
            upload_creator(author),
            upload_text(text.clone()),
            upload_user_mentions(text).unwrap(),
            upload_media(draft.picture),
        );
        assert_eq!(post.mentions, ["ann"]);
        assert!(post.text.starts_with("hello @ann and @nobody http://s.example/"), "{}", post.text);
        assert_eq!(post.creator.name, "bob");
        let stored = post_storage(post.clone(), folder.clone()).unwrap();
        assert!(std::fs::read_to_string(stored).unwrap().contains("s.example"));
        assert_eq!(upload_home_timeline(post.clone(), folder.clone()).unwrap(), 1);
        let line = upload_user_timeline(post.clone(), folder.clone()).unwrap();
        assert_eq!(std::fs::read_to_string(line).unwrap(), post.id);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
        upload_user_timeline(post, folder.clone()).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "twice is once");
    }

    #[test]
    fn pictures_are_told_apart() {
        assert_ne!(upload_media(64), upload_media(128));
        assert_eq!(upload_media(0), digest(b""));
    }
}
