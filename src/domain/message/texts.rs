//! Our texts. `{days}` stands after `in`, `dans`, `tra`, `dentro de` or `あと`; no text names
//! anybody, and none says more than the person before the visual may know.

use super::{Language, MessageKey};

/// Our text for a notice in a language.
pub(super) fn ours(key: MessageKey, language: Language) -> &'static str {
    let row = TEXTS.iter().find(|(it, _)| *it == key);
    let Some((_, [en, de, fr, it, es, ja])) = row else { return "" };
    match language {
        Language::English => en,
        Language::German => de,
        Language::French => fr,
        Language::Italian => it,
        Language::Spanish => es,
        Language::Japanese => ja,
    }
}

/// English, German, French, Italian, Spanish, Japanese. First what works and is warned of, then
/// what does not. A test asks for every key.
const TEXTS: [(MessageKey, [&str; 6]); 18] = [
    (
        MessageKey::Trial,
        [
            "Your trial ends in {days}, on {date}. Please purchase a license to keep using it after that.",
            "Ihre Testversion endet in {days}, am {date}. Bitte erwerben Sie eine Lizenz, um sie danach weiter zu nutzen.",
            "Votre période d’essai se termine dans {days}, le {date}. Veuillez acheter une licence pour continuer à l’utiliser ensuite.",
            "Il periodo di prova termina tra {days}, il {date}. Per continuare a utilizzarlo, acquistare una licenza.",
            "Su periodo de prueba termina dentro de {days}, el {date}. Adquiera una licencia para seguir utilizándolo después.",
            "試用期間はあと{days}で終了します（{date}まで）。引き続きご利用になるには、ライセンスをご購入ください。",
        ],
    ),
    (
        MessageKey::TrialOpen,
        [
            "You are using a trial version.",
            "Sie verwenden eine Testversion.",
            "Vous utilisez une version d’essai.",
            "Si sta utilizzando una versione di prova.",
            "Está utilizando una versión de prueba.",
            "試用版をご利用中です。",
        ],
    ),
    (
        MessageKey::Grace,
        [
            "Your license has lapsed. It keeps working until {date} and will be blocked in {days} unless it is renewed.",
            "Ihre Lizenz ist abgelaufen. Sie gilt noch bis {date} und wird in {days} gesperrt, wenn sie nicht verlängert wird.",
            "Votre licence a expiré. Elle reste utilisable jusqu’au {date} et sera bloquée dans {days} si elle n’est pas renouvelée.",
            "La licenza è scaduta. Resta utilizzabile fino al giorno {date} e verrà bloccata tra {days} se non viene rinnovata.",
            "Su licencia ha vencido. Seguirá funcionando hasta el {date} y se bloqueará dentro de {days} si no se renueva.",
            "ライセンスの有効期限が切れています。{date}まではご利用いただけますが、更新されない場合、あと{days}で利用できなくなります。",
        ],
    ),
    (
        MessageKey::GraceOpen,
        [
            "Your license has lapsed and still works for a short time. Please ask your administrator to renew it.",
            "Ihre Lizenz ist abgelaufen und gilt nur noch kurze Zeit. Bitte lassen Sie sie von Ihrem Administrator verlängern.",
            "Votre licence a expiré et reste utilisable pour une courte durée. Veuillez demander à votre administrateur de la renouveler.",
            "La licenza è scaduta e resta utilizzabile ancora per poco. Chiedere all’amministratore di rinnovarla.",
            "Su licencia ha vencido y seguirá funcionando por poco tiempo. Pida a su administrador que la renueve.",
            "ライセンスの有効期限が切れており、ご利用いただけるのはあとわずかの期間です。管理者に更新をご依頼ください。",
        ],
    ),
    (
        MessageKey::EndsSoon,
        [
            "Your license ends in {days}, on {date}, and will not be renewed automatically.",
            "Ihre Lizenz endet in {days}, am {date}, und wird nicht automatisch verlängert.",
            "Votre licence se termine dans {days}, le {date}, et ne sera pas renouvelée automatiquement.",
            "La licenza termina tra {days}, il {date}, e non verrà rinnovata automaticamente.",
            "Su licencia termina dentro de {days}, el {date}, y no se renovará automáticamente.",
            "ライセンスはあと{days}で終了します（{date}まで）。自動更新はされません。",
        ],
    ),
    (
        MessageKey::OverLimit,
        [
            "Your license is for {max} and is used by more. Please ask your administrator to extend it.",
            "Ihre Lizenz gilt für {max} und wird von mehr Personen verwendet. Bitte lassen Sie sie von Ihrem Administrator erweitern.",
            "Votre licence est prévue pour {max} et ce nombre est dépassé. Veuillez demander à votre administrateur de l’étendre.",
            "La licenza è valida per {max} e questo numero è stato superato. Chiedere all’amministratore di estenderla.",
            "Su licencia es para {max} y se ha superado ese número. Pida a su administrador que la amplíe.",
            "ライセンスの上限（{max}）を超えて利用されています。管理者に追加をご依頼ください。",
        ],
    ),
    (
        MessageKey::Stale,
        [
            "Your license could not be confirmed for some time. It keeps working for now.",
            "Ihre Lizenz konnte seit einiger Zeit nicht bestätigt werden. Sie gilt vorerst weiter.",
            "Votre licence n’a pas pu être confirmée depuis un certain temps. Elle reste utilisable pour le moment.",
            "Da qualche tempo non è stato possibile confermare la licenza. Per ora resta utilizzabile.",
            "Hace algún tiempo que no se puede confirmar su licencia. De momento sigue funcionando.",
            "しばらくの間ライセンスを確認できていません。当面は引き続きご利用いただけます。",
        ],
    ),
    (
        MessageKey::HeldBack,
        [
            "Your organization no longer shows this license. It keeps working until that is confirmed.",
            "Ihre Organisation führt diese Lizenz nicht mehr. Sie gilt weiter, bis sich das bestätigt.",
            "Votre organisation n’affiche plus cette licence. Elle reste utilisable jusqu’à confirmation.",
            "La licenza non risulta più nell’organizzazione. Resta utilizzabile fino alla conferma.",
            "Su organización ya no muestra esta licencia. Seguirá funcionando hasta que se confirme.",
            "お客様の組織でこのライセンスが確認できなくなりました。確定するまでは引き続きご利用いただけます。",
        ],
    ),
    (
        MessageKey::Pending,
        [
            "The purchase has not been activated yet. Please ask your administrator to complete it.",
            "Der Kauf wurde noch nicht aktiviert. Bitte lassen Sie ihn von Ihrem Administrator abschließen.",
            "L’achat n’a pas encore été activé. Veuillez demander à votre administrateur de le finaliser.",
            "L’acquisto non è ancora stato attivato. Chiedere all’amministratore di completarlo.",
            "La compra aún no se ha activado. Pida a su administrador que la complete.",
            "ご購入はまだ有効化されていません。管理者に手続きの完了をご依頼ください。",
        ],
    ),
    (
        MessageKey::Suspended,
        [
            "Your license is suspended. Please ask your administrator to check the payment.",
            "Ihre Lizenz ist ausgesetzt. Bitte lassen Sie die Zahlung von Ihrem Administrator prüfen.",
            "Votre licence est suspendue. Veuillez demander à votre administrateur de vérifier le paiement.",
            "La licenza è sospesa. Chiedere all’amministratore di verificare il pagamento.",
            "Su licencia está suspendida. Pida a su administrador que compruebe el pago.",
            "ライセンスは一時停止されています。お支払い状況について管理者にご確認ください。",
        ],
    ),
    (
        MessageKey::Expired,
        [
            "Your license has expired. Please ask your administrator to renew it.",
            "Ihre Lizenz ist abgelaufen. Bitte lassen Sie sie von Ihrem Administrator verlängern.",
            "Votre licence a expiré. Veuillez demander à votre administrateur de la renouveler.",
            "La licenza è scaduta. Chiedere all’amministratore di rinnovarla.",
            "Su licencia ha vencido. Pida a su administrador que la renueve.",
            "ライセンスの有効期限が切れています。管理者に更新をご依頼ください。",
        ],
    ),
    (
        MessageKey::Unlicensed,
        [
            "You need a license to use this. Please ask your administrator for one.",
            "Zur Nutzung ist eine Lizenz erforderlich. Bitte wenden Sie sich an Ihren Administrator.",
            "Une licence est nécessaire pour l’utiliser. Veuillez vous adresser à votre administrateur.",
            "Per l’utilizzo è necessaria una licenza. Rivolgersi all’amministratore.",
            "Necesita una licencia para utilizarlo. Diríjase a su administrador.",
            "ご利用にはライセンスが必要です。管理者にお問い合わせください。",
        ],
    ),
    (
        MessageKey::NoFreeSeat,
        [
            "All seats of your organization are taken. Please ask your administrator for more.",
            "Alle Plätze Ihrer Organisation sind vergeben. Bitte lassen Sie Ihren Administrator weitere hinzufügen.",
            "Toutes les places de votre organisation sont occupées. Veuillez demander à votre administrateur d’en ajouter.",
            "Tutti i posti della sua organizzazione sono occupati. Chiedere all’amministratore di aggiungerne altri.",
            "Todas las plazas de su organización están ocupadas. Pida a su administrador que añada más.",
            "組織のライセンス数がすべて使用されています。管理者に追加をご依頼ください。",
        ],
    ),
    (
        MessageKey::TooManyUsers,
        [
            "Your license is already used by as many people as it allows. Please ask your administrator to extend it.",
            "Ihre Lizenz wird bereits von so vielen Personen verwendet, wie sie erlaubt. Bitte lassen Sie sie von Ihrem Administrator erweitern.",
            "Votre licence est déjà utilisée par le nombre maximal de personnes. Veuillez demander à votre administrateur de l’étendre.",
            "La licenza è già utilizzata dal numero massimo di persone. Chiedere all’amministratore di estenderla.",
            "El número máximo de personas ya está utilizando su licencia. Pida a su administrador que la amplíe.",
            "ライセンスの利用者数が上限に達しています。管理者に追加をご依頼ください。",
        ],
    ),
    (
        MessageKey::NotRecognized,
        [
            "The license was not recognized. Please check the license id and the licensee.",
            "Die Lizenz wurde nicht erkannt. Bitte prüfen Sie Lizenznummer und Lizenznehmer.",
            "La licence n’a pas été reconnue. Veuillez vérifier l’identifiant et le titulaire de la licence.",
            "La licenza non è stata riconosciuta. Verificare l’ID e l’intestatario della licenza.",
            "No se ha reconocido la licencia. Compruebe el identificador y el titular de la licencia.",
            "ライセンスを認識できませんでした。ライセンスIDと使用者名をご確認ください。",
        ],
    ),
    (
        MessageKey::HostUnsupported,
        [
            "Your license does not cover this environment.",
            "Ihre Lizenz gilt nicht in dieser Umgebung.",
            "Votre licence ne couvre pas cet environnement.",
            "La licenza non copre questo ambiente.",
            "Su licencia no cubre este entorno.",
            "お使いのライセンスはこの環境に対応していません。",
        ],
    ),
    (
        MessageKey::ConsentNeeded,
        [
            "Your license could not be checked: an administrator has to give consent first.",
            "Ihre Lizenz konnte nicht geprüft werden: Ein Administrator muss zuerst zustimmen.",
            "Votre licence n’a pas pu être vérifiée : un administrateur doit d’abord donner son consentement.",
            "Non è stato possibile verificare la licenza: un amministratore deve prima dare il consenso.",
            "No se ha podido comprobar su licencia: un administrador debe dar antes su consentimiento.",
            "ライセンスを確認できませんでした。先に管理者の同意が必要です。",
        ],
    ),
    (
        MessageKey::Unknown,
        [
            "Your license could not be checked. Please try again later.",
            "Ihre Lizenz konnte nicht geprüft werden. Bitte versuchen Sie es später erneut.",
            "Votre licence n’a pas pu être vérifiée. Veuillez réessayer plus tard.",
            "Non è stato possibile verificare la licenza. Riprovare più tardi.",
            "No se ha podido comprobar su licencia. Vuelva a intentarlo más tarde.",
            "ライセンスを確認できませんでした。しばらくしてからもう一度お試しください。",
        ],
    ),
];
