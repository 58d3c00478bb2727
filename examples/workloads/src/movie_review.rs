//! Movie Reviewing (`DeathStarBench`'s, as functions): a review is checked, numbered, put together, and stored with the
//! user and with the film.

use limitless_faas::{Error, Result, handler, workflow};
use serde::{Deserialize, Serialize};

use crate::loopback::exchange;
use crate::social_network::{digest, store};

/// A review as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Review {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) film: String,
    pub(crate) text: String,
    pub(crate) stars: u8,
}

/// What a user sends.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Draft {
    pub(crate) user: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) stars: u8,
}

/// Accepts a review of one to ten stars.
#[handler]
pub(crate) fn compose_review(user: String, title: String, text: String, stars: u8) -> Result<Draft> {
    if !(1..=10).contains(&stars) {
        return Err(Error::msg(format_args!("{stars} stars, and there are 1 to 10")));
    }
    Ok(Draft { user, title, text, stars })
}

/// The number of a user.
#[handler]
pub(crate) fn upload_user_id(user: String) -> String {
    digest(user.as_bytes())
}

/// The number of a film, asked from the film service.
#[handler]
pub(crate) fn upload_movie_id(title: String) -> Result<String> {
    let answer =
        exchange(title.as_bytes(), |title| digest(title.to_ascii_lowercase().trim_ascii()).into_bytes())?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A review's text, each run of spaces as one and at most so many words of it.
#[handler]
pub(crate) fn mr_upload_text(text: String, words: usize) -> String {
    text.split_whitespace().take(words).collect::<Vec<_>>().join(" ")
}

/// The review's id: a user has one review of a film.
#[handler]
pub(crate) fn mr_upload_unique_id(user: String, title: String) -> String {
    digest(format!("{user}\n{title}").as_bytes())
}

/// Puts a review together from its parts.
#[handler]
pub(crate) fn mr_compose_and_upload(
    id: String,
    user: String,
    film: String,
    text: String,
    stars: u8,
) -> Review {
    Review { id, user, film, text, stars }
}

/// Stores a review by its id; the file's path.
#[handler]
pub(crate) fn store_review(review: Review, folder: String) -> Result<String> {
    store(&folder, &review.id, format!("{review:?}").as_bytes())
}

/// Adds a review to its user's list; the file's path.
#[handler]
pub(crate) fn upload_user_review(review: Review, folder: String) -> Result<String> {
    store(&folder, &format!("user-{}-{}", review.user, review.id), &[review.stars])
}

/// Adds a review to its film's list; the file's path.
#[handler]
pub(crate) fn upload_movie_review(review: Review, folder: String) -> Result<String> {
    store(&folder, &format!("film-{}-{}", review.film, review.id), &[review.stars])
}

/// Reviews a film. The path of the review.
#[workflow(slo_ms = 100)]
pub(crate) async fn movie_review(
    user: String,
    title: String,
    text: String,
    stars: u8,
    folder: String,
) -> Result<String> {
    let draft = compose_review(user, title, text, stars).await?;
    let (user, film, short, id) = join!(
        upload_user_id(&draft.user),
        upload_movie_id(&draft.title),
        mr_upload_text(&draft.text, 100_usize),
        mr_upload_unique_id(&draft.user, &draft.title),
    );
    let review = mr_compose_and_upload(id, user, film?, short, stars).await;
    let (path, _of_user, _of_film) = try_join!(
        store_review(&review, &folder),
        upload_user_review(&review, &folder),
        upload_movie_review(&review, &folder),
    )?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_goes_all_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap().to_owned();
        let said = "slow  at first\nand then not".to_owned();
        let draft = compose_review("bob".to_owned(), " Solaris".to_owned(), said, 9).unwrap();
        let review = mr_compose_and_upload(
            mr_upload_unique_id(draft.user.clone(), draft.title.clone()),
            upload_user_id(draft.user),
            upload_movie_id(draft.title).unwrap(),
            mr_upload_text(draft.text, 5),
            draft.stars,
        );
        assert_eq!(review.text, "slow at first and then");
        assert_eq!(review.film, upload_movie_id("solaris".to_owned()).unwrap());
        store_review(review.clone(), folder.clone()).unwrap();
        let of_user = upload_user_review(review.clone(), folder.clone()).unwrap();
        assert_eq!(std::fs::read(of_user).unwrap(), [9]);
        upload_movie_review(review, folder.clone()).unwrap();
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 3);
    }

    #[test]
    fn eleven_stars_are_refused() {
        let refused = compose_review("bob".to_owned(), "Solaris".to_owned(), String::new(), 11);
        assert!(refused.unwrap_err().to_string().contains("11 stars"));
    }
}
